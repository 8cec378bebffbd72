"""The IB socket protocol as values, sans-IO: bytes in, values out; no asyncio, socket, time, logging or os."""
