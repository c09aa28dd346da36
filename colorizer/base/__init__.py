"""What the whole runtime, and the pipeline above it, needs: errors, files, addresses, pixels.

Belongs here: small modules that know nothing of pictures, models or pages. Imports none of ours.
"""
