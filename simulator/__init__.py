"""A simulated LiveKit that knows the correct result of every interview; `interviews simulate` runs it.

It generates interviews (scenarios), sends their webhook events to a deployment as LiveKit would (events, delivery),
serves LiveKit's server API (livekit_state, livekit_api), and compares the statuses that the deployment reports with the
correct ones (player, report). It imports nothing of app, so an error there cannot hide itself here.
"""
