"""Schedules: what is to run when, as defined in code, in a file or at run time.

`timetable` says when (over `cron` and `zones`), `definition` what; `record` is how both are kept, `merge`
what becomes of a definition that code and people change; `book` is ``app.schedules``. Ticks are fired by
`ferryman.scheduler`.
"""
