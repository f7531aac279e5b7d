"""Mutants that no test can find, because nothing is different: each with the reason."""

_FIRST_REPLY = "it is read only once there is a reply, and by then it was set"
_FINGERPRINT = "a claimed job has a fingerprint; the alternative is for the type only"

EQUIVALENT: dict[str, str] = {
    "cap.py Cap.admit: under_way or self._counts.setdefault(tenant, Future()) → "
    "self._counts.setdefault(tenant, Future())": "what is under way is what stands there",
    "log_keys.py : 'log_keys' → 'log_keysX'": "the name of a context variable is for debuggers only",
    "observed.py measures_of: after.started_at and after.finished_at → after.started_at": (
        "a job that has ended has its moment; the alternative is for the type only"
    ),
    "ports.py Retriever.retrieve: 5 → 6": "a port's own default is never used: its adapter has one",
    "stray.py Stray.where: thread and thread.ident → thread": (
        "what has no id has no frame; the condition is for the type only"
    ),
    "stray.py Stray.told_where: '' → 'X'": "of a step only the part behind a blank is asked for",
    "process.py Process.is_sound: break → continue": "those that follow are passed over one by one",
    "process.py Visit.may_run_alone: 1 → 2": "ranks are only compared, and an ordinary job has 0",
    "run.py Run.__init__: self._last_was_answered = True → pass": _FIRST_REPLY,
    "run.py Run.__init__: True → False": _FIRST_REPLY,
    "run.py Run.call: self._lease.job.fingerprint or '' → self._lease.job.fingerprint": _FINGERPRINT,
    "run.py Run.call: '' → 'X'": _FINGERPRINT,
    "run.py Run._number: 1 → 2": "the first free number is taken, however far it is looked for",
}
