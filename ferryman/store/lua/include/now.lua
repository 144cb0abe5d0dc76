-- now_ms(): the server's clock in whole milliseconds. No other clock counts.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
