"""What the whole runtime, and the pipeline above it, shares: errors, files, addresses, pixels.

Doesn't belong here: whatever knows of pictures' formats, models or pages. Imports no other package
of this repository.
"""
