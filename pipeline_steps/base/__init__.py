"""What every stage needs: errors, signals, paths, disk space, processes, JSON, CSV.

Belongs here: modules that know nothing of pairs, networks or MLflow. Writing and hashing files
and zips' members are ``colorizer.base``'s, which the runtime shares.
"""
