"""All uses of uvicorn's undocumented parts. Any release of uvicorn may change them; a test fails for each that does.

connection.py  HttpToolsProtocol with limits on what a client may send and hold
one_write.py   RequestResponseCycle, which sends an answer's head and body with one system call
worker.py      Server, which accepts connections only when it is ready, and loses none when it stops

tests/web/test_uvicorn_internals.py lists each attribute with its test. Nothing else in the service imports from
uvicorn, except Config, which is documented.
"""
