-- deposed(fence_key, token): whether a later leader was here before. A token that is not refused is remembered.
local function deposed(fence_key, token)
  local seen = tonumber(redis.call('GET', fence_key) or 0)
  if seen > token then
    return true
  end
  if seen < token then
    redis.call('SET', fence_key, string.format('%.0f', token))
  end
  return false
end
