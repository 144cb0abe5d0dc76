-- rank(priority, cost, arrival): a place in `ranked`. One number holds three: priority before run time before arrival. Doubles are exact
-- up to 2^53: the priority stands above 2^42; a run time is 26 bits of ms, and leaves 16 for the arrival.
local function rank(priority, cost, arrival)
  local base = -(tonumber(priority) or 0) * 4398046511104
  if cost == '' then
    return string.format('%.0f', base + arrival)
  end
  return string.format('%.0f', base + math.min(math.floor(tonumber(cost)), 67108863) * 65536 + arrival % 65536)
end
