"""What runtime and pipeline share: errors, files, zips, pixels, servers and answers.

Doesn't belong here: whatever knows of pictures' formats, models or pages. Imports no other package
of this repository.
"""
