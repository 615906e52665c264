"""One module per service, each ending in `SERVICE`, a `recordings.service.Service`.

To add a service, write its module here and add its name to `recordings.corpus.SERVICES`; nothing else has to know it.
"""
