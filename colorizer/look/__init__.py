"""Everything done to colours after the model: upscaling, palettes, layers, writing files.

Nothing that training or export depends on belongs here.
"""
