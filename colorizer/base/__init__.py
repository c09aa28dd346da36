"""What the runtime and the pipeline above it share: errors, files, zips, pixels, servers and answers.

Doesn't belong here: whatever knows of pictures' formats, models or pages. Imports no other package
of this repository.
"""
