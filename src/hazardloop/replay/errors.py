"""What keeps a replay from its end."""


class ReplayError(Exception):
    """Its message says what is wrong and what to do."""


class TooManyEpisodes(ReplayError):
    """The rules raise so many alarms that nobody could read them."""


class NothingWatched(ReplayError):
    """No point is watched by any of the rules."""


class AskedWrongly(ReplayError):
    """What was asked for cannot be."""


class Stopped(ReplayError):
    """Somebody cancelled it."""
