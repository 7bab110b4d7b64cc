"""The metrics of a limiter. flint.prometheus is their public module and loads these when they are first used.

From the bottom up:

- options: the arguments of the public functions
- rows: keys that share their labels
- collect: the state of a limiter as rows
- families: names, types and help texts of all metrics; rows as metric families of prometheus_client
- text: families in the text format 0.0.4 and in OpenMetrics
"""
