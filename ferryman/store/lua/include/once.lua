-- A holder numbers what it settles: in each of its lanes one call waits for its reply at a time, with a higher number than those
-- before. So a number that is not above the last of its lane was carried out before: it is repeated, for its reply was lost, or it is
-- the original, which a slow server reads after its own repetition. The jobs that it names may by then be in this holder's hands again,
-- or be others under the same ids. Lane '': not numbered.

-- carried_out(settled_key, lane, number): whether this call was. Asked before anything is changed.
local function carried_out(settled_key, lane, number)
  if lane == '' then
    return false
  end
  local last = redis.call('HGET', settled_key, lane)
  return last and tonumber(last) >= tonumber(number)
end

-- remember(settled_key, lane, number): it is now. Comes last: a call that an error stops midway is finished by its repetition.
local function remember(settled_key, lane, number)
  if lane ~= '' then
    redis.call('HSET', settled_key, lane, number)
    redis.call('EXPIRE', settled_key, 900)
  end
end
