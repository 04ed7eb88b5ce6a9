"""A look at the link to a PLC, and the handshake step by step with the person beside it.

lock of the line ─▶ connect ─▶ where is CTRL? ─▶ round trips, heartbeat ─▶ are answers the right ones?
     ─▶ (--write) patterns in STAT ─▶ (--handshake) part after part, each step waited for
"""
