"""Labelled log recordings of real services under load and injected faults, and the recorder that makes them.

Read `corpus` for the data and its splits, `windows` for labelled entries and windows as the detector sees them.
`record`, `build` and `describe` are the commands. `service` is the contract that each module in `services` fulfils.
"""
