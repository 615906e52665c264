"""Labelled log recordings of real services under load and injected faults, and the recorder that makes them."""
