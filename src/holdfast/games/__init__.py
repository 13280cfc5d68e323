"""Preference games: who beats whom may are cyclic, and then the best policy is a mixture.

    game = Game(pref_AA)                                 # P(a beats b), P + P^T = 1
    # one loop for every solver; stops by certificate
    found = solve(game, optimistic.step, until=1e-6)
    found.pi_A, found.exploitability                     # the policy, and a proof of how good it is

Each solver is one file with two faces: `step`, which moves a table's policy, and a *policy
objective*, a pairwise objective in the table of methods that moves a language model likewise. On an
exact table its minimizer is one step of the solver; the tests check it by numbers.

What such an objective reads, beside chosen and rejected. Rows are drawn anew each round from the
policy the round begins with:

    columns of a row            input                 what it is
    chosen_win_rate,            win_rate_N2           P(beats an opponent's answer), 0 to 1
      rejected_win_rate
    chosen_earlier_win_rate,    earlier_win_rate_N2   the same against the policy of before
      rejected_earlier_win_rate
    earlier_gap                 earlier_gap_N         log pi(chosen) - log pi(rejected), nats
    confidence                  confidence_N          P(chosen beats rejected), 0 to 1

Who the reference is, whose gap `earlier_gap` is, and who the opponent is, says `ROLES` (see
`roles.Roles`):

    objective        reference  earlier_gap  win rates against              labels
    mirror_descent   start      current      current                        not read
    nash_md          start      current      mixture of current and start   not read
    egpo             start      current      current, then the midpoint     not read
    optimistic       start      current      current, and before's          not read
    halpern          start      current      as egpo, anchored              not read
    inpo             start      current      none                           drawn from P, as answers
    online_ipo       start      none         none (confidence)              not read; one step a row
    sppo             current    none         current                        not read
    spo_win_rate     current    none         current                        not read
    apo              current    before       none                           drawn from P

`start` is the policy before round 1, `current` the one a round begins with, `before` the one the
last round began with; halpern's anchor weighs 1 / (round + 1).
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.games import (
    apo,
    egpo,
    halpern,
    inclusions,
    inpo,
    interior,
    mirror_descent,
    nash_md,
    online_ipo,
    optimistic,
    regret_matching,
    spo_win_rate,
    sppo,
)
from holdfast.games.certificate import exploitability, gap
from holdfast.games.exact import linear_program, regularized
from holdfast.games.game import Game, Oracle, from_judge, from_votes
from holdfast.games.roles import Roles
from holdfast.games.solve import Solution, solve
from holdfast.games.state import State

ROLES: Mapping[str, Roles] = {
    "mirror_descent": Roles("start", "current", "current"),
    "nash_md": Roles("start", "current", "mixture"),
    "egpo": Roles("start", "current", "midpoint"),
    "optimistic": Roles("start", "current", "current"),
    "halpern": Roles(
        "start", "current", "midpoint", by_round=lambda number: {"anchor": 1 / (number + 1)}
    ),
    "inpo": Roles("start", "current", pairing="independent"),
    "online_ipo": Roles("start"),
    "sppo": Roles("current", opponent="current"),
    "spo_win_rate": Roles("current", opponent="current"),
    "apo": Roles("current", "before", pairing="independent"),
}

__all__ = [
    "ROLES",
    "Game",
    "Oracle",
    "Roles",
    "Solution",
    "State",
    "apo",
    "egpo",
    "exploitability",
    "from_judge",
    "from_votes",
    "gap",
    "halpern",
    "inclusions",
    "inpo",
    "interior",
    "linear_program",
    "mirror_descent",
    "nash_md",
    "online_ipo",
    "optimistic",
    "regret_matching",
    "regularized",
    "solve",
    "spo_win_rate",
    "sppo",
]
