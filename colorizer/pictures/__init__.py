"""Picture files in: decoded in a guarded process, cleaned up as line art, fitted to the model.

Belongs here: whatever turns a stranger's file into pixels. Colouring does not.
"""
