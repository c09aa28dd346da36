"""What the artist sees: colours brought to full size, palettes, layers, files out.

Belongs here: everything done to colours after the model. Nothing here affects training or export.
"""
