-- own(held_key, ids): which of ids this holder still holds, and which it does not. Membership is ownership: a worker whose lease
-- lapsed, or whose ack was already carried out, owns nothing here and changes nothing.
local function own(held_key, ids)
  if #ids == 0 then
    return ids, {}
  end
  local member = redis.call('SMISMEMBER', held_key, unpack(ids))
  local owned, refused = ids, {}
  for i = 1, #ids do
    if member[i] == 0 then
      owned = nil
      break
    end
  end
  if owned then
    return owned, refused
  end
  owned = {}
  for i = 1, #ids do
    if member[i] == 1 then
      owned[#owned + 1] = ids[i]
    else
      refused[#refused + 1] = ids[i]
    end
  end
  return owned, refused
end
