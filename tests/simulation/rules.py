"""The rules that a test can break, one at a time, to show that the checker finds it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """All hold by default.

    `end_before_lost`: commands of a killed runner are ended before their Attempts are lost.
    `no_clocks`: fencing compares no clocks. `kill_cap`: an expired lease kills after 10 s at most.
    `check_before_fork`: the runner reads the lease before it starts a command.
    `count_from_request`: a lease is counted from before the request. `ask_again`: a call with an
    unknown answer is made again. `lock_first`: the lock is a statement of its own, before the one
    that counts. `guard_finish`: a finish has to come from the holder.
    `second_watcher`: the daemon kills what a stopped runner does not. `publish_again`: a row that
    waits in a queue is published until it was taken. `gate`: a message starts nothing by itself.
    `wait_for_named`: a Run that follows others waits until they have ended. `groups`: only hosts
    of its group take up a Run. `expiry`: what waits ends when its time is over.
    `goodbye_holds_nothing`: a host that still has Runs does not give up its name.
    """

    end_before_lost: bool = True
    no_clocks: bool = True
    kill_cap: bool = True
    check_before_fork: bool = True
    count_from_request: bool = True
    ask_again: bool = True
    lock_first: bool = True
    guard_finish: bool = True
    second_watcher: bool = True
    publish_again: bool = True
    gate: bool = True
    wait_for_named: bool = True
    groups: bool = True
    expiry: bool = True
    goodbye_holds_nothing: bool = True
