"""The metrics of a limiter. flint.prometheus is their public module and loads these when they are first used.

From the bottom up:

- collect: the rows: sums over keys that share their labels
- families: names, types and help texts; rows as metric families of prometheus_client
- text: families in the text format 0.0.4 and in OpenMetrics
"""
