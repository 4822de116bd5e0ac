import "date"

option task = {name: "fair_price_1m", every: 1m, offset: 10s}

// Whole minutes only: a minute cut at either end would replace a good bar by a part of it. The range reaches back, so
// that points which come late, after an outage, still find their way into the bars.
stop = date.truncate(t: now(), unit: 1m)
start = date.sub(d: 15m, from: stop)

rows = from(bucket: "ticks")
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement == "fair_price" and (r._field == "price" or r._field == "spread"))

bar = (field, fn, as) => rows
    |> filter(fn: (r) => r._field == field)
    |> aggregateWindow(every: 1m, fn: fn, createEmpty: false, timeSrc: "_start")
    |> toFloat()
    |> set(key: "_measurement", value: "fair_price_1m")
    |> set(key: "_field", value: as)

union(tables: [
    bar(field: "price", fn: first, as: "open"),
    bar(field: "price", fn: max, as: "high"),
    bar(field: "price", fn: min, as: "low"),
    bar(field: "price", fn: last, as: "close"),
    bar(field: "spread", fn: mean, as: "spread"),
    bar(field: "price", fn: count, as: "count"),
])
    |> to(bucket: "bars")
