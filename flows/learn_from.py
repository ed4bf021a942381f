"""The markets that lstm and blend learn from besides the configured ones, unless the settings name others."""

# Long-lived and liquid, each on the exchange of whose files CDD has the longest history. All are daily: hourly models
# learn from the configured hourly series alone unless CANDLECAST_LEARN_FROM names more.
LEARN_FROM = (
    "Bitstamp_BTCUSD_d",
    "Bitstamp_ETHUSD_d",
    "Bitstamp_XRPUSD_d",
    "Bitstamp_LTCUSD_d",
    "Bitstamp_BCHUSD_d",
    "Binance_ADAUSDT_d",
    "Binance_ATOMUSDT_d",
    "Binance_BNBUSDT_d",
    "Binance_DASHUSDT_d",
    "Binance_DOGEUSDT_d",
    "Binance_EOSUSDT_d",
    "Binance_ETCUSDT_d",
    "Binance_LINKUSDT_d",
    "Binance_NEOUSDT_d",
    "Binance_SOLUSDT_d",
    "Binance_TRXUSDT_d",
    "Binance_VETUSDT_d",
    "Binance_XLMUSDT_d",
    "Binance_XMRUSDT_d",
    "Binance_ZECUSDT_d",
)
