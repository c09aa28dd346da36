"""What every stage needs: errors, signals, paths, disk space, archive damage, processes, JSON, CSV.

Belongs here: modules that know nothing of pairs, networks or MLflow. Writing and hashing files is
``colorizer.base``'s, which the runtime shares.
"""
