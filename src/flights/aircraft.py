"""The aircraft: what kind it is, and how its earlier flights from New York went."""

import numpy as np
import polars as pl

from flights.windows import groups, ratio, timeline
from flights.history import LATE

def plane(flights, planes):
    p = planes.select("tailnum", "seats", "engine", "manufacturer","model", "type", built="year")
    return flights.select("tailnum", "year").join(p, on="tailnum", how="left", maintain_order="left").select(
        age=(pl.col("year") - pl.col("built")), seats="seats", engine="engine", manufacturer="manufacturer",model="model")

def legs(flights):
    g = groups(flights, ("tailnum",))
    t = flights["decided"].to_numpy()
    one = pl.repeat(1, flights.height, eager=True)
    dep = timeline(g, flights["departed"], {"count": one, "delay": flights["dep_delay"], "late": flights["dep_delay"] >= LATE})
    land = timeline(g, flights["landed"], {"count": one, "delay": flights["arr_delay"], "late": flights["arr_delay"] >= LATE})
    last = dep.latest(g, t)
    sel = pl.Series(np.where(last >= 0, last, 0))
    ok = pl.Series(last >= 0)
    leg = flights.select("departed", "landed", "due", "scheduled", "dep_delay", "arr_delay", "dest","origin")[sel]
    f = pl.DataFrame({"now": t, "sched": flights["scheduled"], "ok": ok, "here": flights["origin"]}).hstack(leg.rename({c: f"leg_{c}" for c in leg.columns}))
    known = pl.col("leg_landed") <= pl.col("now")
    span = pl.col("leg_due") - pl.col("leg_scheduled")
    expected = pl.when(known).then("leg_landed").otherwise(pl.max_horizontal(pl.col("leg_departed") + span, "now"))
    out = f.select(
        leg_dep_delay=pl.col("leg_dep_delay").cast(pl.Float64),
        leg_arr_delay=pl.when(known).then("leg_arr_delay").cast(pl.Float64),
        leg_known_delay=pl.when(known).then("leg_arr_delay").otherwise("leg_dep_delay").cast(pl.Float64),
        leg_landed=known.fill_null(False).cast(pl.Int8),
        leg_since=pl.col("sched") - pl.col("leg_departed"),
        leg_slack=pl.col("sched") - expected - span,
        leg_other=(pl.col("here") != pl.col("leg_origin")).cast(pl.Int8),
    )
    out = out.with_columns(pl.when(ok).then(pl.all()))
    d = dep.window(g, t, 1440)
    w = land.window(g, t, 7*1440)
    # overdue leg of the same tail
    s = timeline(g, flights["scheduled"], {"count": one})
    from flights.congestion import queue
    n, wt = queue(flights, ("tailnum",), 0, 360)
    return out.with_columns(
        legs_24h=pl.Series(d["count"]), legs_24h_delay=ratio(d["delay"], d["count"]),
        tail_7d_delay=ratio(w["delay"], w["count"]), tail_7d_late=ratio(w["late"], w["count"]),
        x_tail_overdue=pl.Series(n), x_tail_overdue_waited=ratio(wt, n),
    )
