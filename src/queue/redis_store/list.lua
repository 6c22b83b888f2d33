-- ARGV: limit, then the sets to list in their order. Returns key, priority, at ms, attempts, holder, why for each job.

local limit = tonumber(ARGV[1])
local rows = {}
for i = 2, #ARGV do
  local set = base .. ':' .. ARGV[i]
  if limit > 0 then
    local found = redis.call('ZRANGE', set, 0, limit - 1, 'WITHSCORES')
    for n = 1, #found, 2 do
      local h = redis.call('HMGET', at(found[n]), 'p', 'a', 'by', 'w')
      local time = tonumber(found[n + 1])
      if set == READY then
        time = time % RANK
      end
      rows[#rows + 1] = { found[n], tonumber(h[1] or 1), time, tonumber(h[2] or 0), h[3] or '', h[4] or '' }
      limit = limit - 1
    end
  end
end
return rows
