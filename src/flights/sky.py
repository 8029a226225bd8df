import numpy as np, polars as pl
LAST=["temp","dewp","humid","wind_dir","wind_speed","wind_gust","precip","pressure","visib"]
def sky(flights, weather):
    w = weather.select("origin", *LAST, known=pl.col("time").dt.epoch("s")//60+60, inches=(pl.col("precip")*100).round().cast(pl.Int64)).sort("known","origin")
    w = w.with_columns(rain=pl.col("inches").fill_null(0).cum_sum().over("origin"))
    q = flights.select("origin","decided").with_row_index("i").sort("decided")
    def at(lag, cols):
        x = q.with_columns(at=pl.col("decided")-lag).join_asof(w.select("origin","known",*cols), left_on="at", right_on="known", by="origin", strategy="backward", check_sortedness=False)
        return x.sort("i")
    now, h1,h3, h6 = at(0, [*LAST,"rain"]), at(60,["rain"]),at(180,["pressure","visib","rain","temp"]), at(360,["rain"])
    fresh=now["known"]>now["decided"]-180
    return now.select(*LAST).with_columns(pl.when(fresh).then(pl.all())).with_columns(
        rain_6h=now["rain"]-h6["rain"].fill_null(0), rain_3h=now["rain"]-h3["rain"].fill_null(0),
        pressure_3h=now["pressure"]-h3["pressure"])
