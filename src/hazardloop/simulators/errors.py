"""What can be wrong with a request to simulate."""


class ScenarioUnreadable(Exception):
    """A scenario, or the file of logins beside it, is not of the shape; says what and where."""
