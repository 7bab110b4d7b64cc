"""Waiting for a limit of a server: first come, first served for each key of one client, without polling.

- acquire: what a waiter does next, and the two drivers: for a thread and for a coroutine
- queue: the waiters of each key, in the order of their arrival
- waiters: a thread and a coroutine that sleep until a time or until they are woken
"""
