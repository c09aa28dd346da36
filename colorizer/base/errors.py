"""The runtime's errors.

ColorizerError             one line: what was wrong, where, and what to do
├── PictureError           a picture can't be read, or not safely
│   ├── PaletteError       a palette isn't 1 to 12 colours; also a ValueError
│   └── HintError          a hint is invalid or outside the picture; also a ValueError
├── AlreadyColouredError   a picture is coloured already, and such ones are to be left alone
├── ModelFolderError       an exported folder is incomplete, damaged or from another version
├── ObjectStoreError       the object store rejected the request, or is set up wrongly
│   └── ObjectStoreUnreachableError    it doesn't answer, or can't now; a retry may succeed
└── RayClusterError        Ray isn't installed, or its cluster can't do this work
    └── RayClusterUnreachableError     it doesn't answer, or is gone; a retry may succeed
"""


class ColorizerError(Exception):
    """Base of the runtime's errors. Its message is one line for the user."""

    may_pass = False
    """Whether the same request may succeed later, with nothing changed here."""


class PictureError(ColorizerError):
    """A picture is broken, of an unknown format, or larger than allowed."""


class PaletteError(PictureError, ValueError):
    """A palette isn't 1 to 12 colours like ``#ff8800``."""


class HintError(PictureError, ValueError):
    """A hint isn't a dot of a colour inside the picture, or its file can't be read."""


class AlreadyColouredError(ColorizerError):
    """A picture is coloured already, and the option ``coloured`` is ``skip``."""


class ModelFolderError(ColorizerError):
    """An exported folder is incomplete, damaged, or of an unsupported version."""


class ObjectStoreError(ColorizerError):
    """An ``s3://`` address is malformed, or the store rejected the request."""


class ObjectStoreUnreachableError(ObjectStoreError):
    """The object store doesn't answer, or can't at present."""

    may_pass = True


class RayClusterError(ColorizerError):
    """Ray isn't installed, or its cluster is of another version or has no machine for the work."""


class RayClusterUnreachableError(RayClusterError):
    """The Ray cluster doesn't answer, or is gone."""

    may_pass = True
