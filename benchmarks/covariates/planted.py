"""How exactly are known effects of covariates recovered?

Daily sales of 40 shops over three years have a price elasticity of 2, 30 % more sales on days with a promotion and half
the sales on public holidays. A forecaster is trained on all but the last 28 days. Each effect is the change of its
median forecast when one covariate is changed, and for holidays the forecast relative to that of the days around them,
whose expected sales are known. ``planted.csv`` has one row for each effect and seed; existing rows are kept.

    python benchmarks/covariates/planted.py --seeds 3
"""

import argparse
from pathlib import Path

import holidays
import numpy as np
import pandas as pd

from s5forecast import S5Forecaster

CSV = Path(__file__).with_name("planted.csv")
SHOPS, DAYS, HORIZON = 40, 3 * 365, 28
FIRST_DAY = "2022-01-10"  # so that the horizon ends after New Year's Day
ELASTICITY, PROMOTION, HOLIDAY = 2.0, 0.3, -0.5
NOISE = 0.1  # standard deviation of the logarithm of the sales
PRICE_CHANGE = 1.1


def planted(seed: int) -> pd.DataFrame:
    """Sales of all shops, with their expectation without holidays in the column ``expected``."""
    rng = np.random.default_rng(seed)
    days = pd.date_range(FIRST_DAY, periods=DAYS, freq="D")
    closed = np.array([day in holidays.country_holidays("US") for day in days])
    week = np.array([1.0, 0.9, 0.9, 1.0, 1.2, 1.4, 1.1])[days.dayofweek]
    shops = []
    for number in range(SHOPS):
        price = np.exp(rng.normal(0, 0.15, DAYS // 7 + 1)).repeat(7)[:DAYS]  # changes once a week
        promotion = rng.random(DAYS) < 0.15
        level = np.exp(rng.normal(4, 1))
        expected = level * week * price**-ELASTICITY * (1 + PROMOTION * promotion)
        sales = expected * np.where(closed, 1 + HOLIDAY, 1) * np.exp(rng.normal(0, NOISE, DAYS))
        shops.append(
            pd.DataFrame(
                {
                    "item_id": f"shop {number}",
                    "timestamp": days,
                    "target": sales,
                    "price": price,
                    "event": np.where(promotion, "promotion", "none"),
                    "expected": expected,
                    "closed": closed,
                }
            )
        )
    return pd.concat(shops, ignore_index=True)


def recovered(seed: int) -> dict[str, float]:
    """The effects that a forecaster trained with this seed has learned."""
    df = planted(seed)
    ahead = df["timestamp"] > df["timestamp"].max() - pd.Timedelta(days=HORIZON)
    history, future = df[~ahead].drop(columns=["expected", "closed"]), df[ahead].drop(columns="target")
    model = S5Forecaster(HORIZON, freq="D", known=["price", "event"], holidays="US", seed=seed, verbose=False)
    model.fit(history)

    def forecast(**changes: object) -> np.ndarray:
        return model.predict(future=future.assign(**changes), quantile_levels=[0.5])["0.5"].to_numpy()

    price, closed = future["price"].to_numpy(), future["closed"].to_numpy()
    dear, cheap = forecast(price=price * PRICE_CHANGE)[~closed], forecast(price=price / PRICE_CHANGE)[~closed]
    elasticity = -np.log(dear / cheap) / (2 * np.log(PRICE_CHANGE))
    promotion = forecast(event="promotion")[~closed] / forecast(event="none")[~closed] - 1
    relative = forecast() / future["expected"].to_numpy()
    holiday = relative[closed].mean() / relative[~closed].mean() - 1
    return {
        "price elasticity": float(elasticity.mean()),
        "promotion": float(promotion.mean()),
        "holiday": float(holiday),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    truth = {"price elasticity": ELASTICITY, "promotion": PROMOTION, "holiday": HOLIDAY}
    found = pd.read_csv(CSV) if CSV.exists() else pd.DataFrame(columns=["seed"])
    for seed in range(parser.parse_args().seeds):
        if seed in found["seed"].tolist():
            continue
        rows = [
            {"seed": seed, "effect": name, "planted": truth[name], "recovered": value, "error": value / truth[name] - 1}
            for name, value in recovered(seed).items()
        ]
        found = pd.concat([found, pd.DataFrame(rows)], ignore_index=True) if len(found) else pd.DataFrame(rows)
        found.to_csv(CSV, index=False, float_format="%.4f")
        print(pd.DataFrame(rows).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
