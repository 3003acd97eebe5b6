"""The benchmark: CPU time per request and per streamed chunk, latency and memory, beside plain proxies."""
