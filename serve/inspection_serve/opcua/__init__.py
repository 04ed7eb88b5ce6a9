"""The station as an OPC UA server that follows the model of OPC 40100-1 (Machine Vision).

LIVE/STATION.json ─▶ state.py ──▶ process.py ─▶ machines.py  the state machines and their events
results store ─────▶ results.py ─────┘       ├▶ reporting.py ResultReadyEvent, GetResult…
                                             └▶ recipes.py   the recipes of the station's folder

It observes, unless the station file sets `drives`; then clients trigger the parts, and it plays the PLC:

clients ─▶ driving.py ─▶ drive.py ─▶ block.py ◀── Modbus TCP ── the line
                            └▶ jobs.py  the book of jobs, on disk

nodeset.py loads the model, model.py makes the instance, process.py runs it, cli.py is `inspection opcua`.
Who may come in: certificates.py (own certificate, trust list), channel.py (asyncua's server with the
doors closed that it leaves open), people.py (the people of the store).
"""
