"""What can be wrong with the surroundings, said in one line each."""


class ServiceError(Exception):
    """Something outside is wrong; the message says what, and what to do."""


class SettingsWrong(ServiceError):
    """A setting is unknown or has a value that is not allowed."""


class DatabaseAbsent(ServiceError):
    """The database does not answer or refuses us."""


class DatabaseAway(ServiceError):
    """The database was lost, or did not answer in time; what was asked of it may yet happen."""


class SchemaWrong(ServiceError):
    """The database is at another version than this program."""


class EmbeddedFailed(ServiceError):
    """A server that we run ourselves did not start."""


class FileKindRefused(Exception):
    """A file of evidence is of a kind that is not taken."""


class FileTooLarge(Exception):
    """A file of evidence is larger than what is taken."""


class EvidenceAbsent(Exception):
    """A file of evidence is not where it was kept."""


class EvidenceDamaged(Exception):
    """A file of evidence is not what was kept."""


class EvidenceAway(ServiceError):
    """The store of evidence does not answer or refuses us."""


class BrokerAbsent(ServiceError):
    """The broker does not answer or refuses us."""


class SnapshotUnusable(ServiceError):
    """There is no snapshot that a worker could start from; the message says why."""


class PlanRefused(Exception):
    """A drawing of a plan is none, or could do more than be looked at."""
