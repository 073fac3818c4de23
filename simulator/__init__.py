"""A LiveKit of our own making that knows the truth, for `interviews simulate`.

It makes up true histories of interviews (histories), tells a deployment about them as LiveKit would (events,
delivery), answers the deployment's questions (world, server) and compares what the deployment says with what is true
(run). It stands apart: it imports nothing else from app, so that a mistake there can't hide itself here.
"""
