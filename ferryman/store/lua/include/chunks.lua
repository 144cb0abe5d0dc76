-- chunked(command, key, list): redis.call with as many values as Lua's stack takes at once (it ends near 8,000).
local function chunked(command, key, list)
  local total = #list
  if total == 0 then
    return
  end
  for first = 1, total, 4000 do
    redis.call(command, key, unpack(list, first, math.min(first + 3999, total)))
  end
end
