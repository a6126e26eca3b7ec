"""What Redis does at once, in Lua: nobody sees half of it, and an older connection cannot come between.

All keys of a room have its name in braces, so that they lie on one node of a cluster. The room is a hash (epoch, last),
its sessions are a hash of JSON arrays (the state of a connection, see `keep`), its finals are a stream whose ids are
the offsets. Time is the server's own, in milliseconds. Each script begins with PRELUDE, and with the same arguments:
session, generation, offset, an epoch for when one is needed, retention and lease in milliseconds.
"""

PRELUDE = """
local ROOM, SESSIONS, FINALS, CHANNEL = KEYS[1], KEYS[2], KEYS[3], KEYS[1]
local SESSION, GENERATION, OFFSET = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local EPOCH, RETENTION, LEASE = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end
local function fields(entry)  -- session, utterance, time, shown, ticket
    local f = entry[2]
    return f[2], tonumber(f[4]), tonumber(f[6]), f[8], f[10]
end

local function stay()  -- a room is known for twice as long as what was said in it
    local known = 2 * math.max(RETENTION, LEASE)
    redis.call('PEXPIRE', ROOM, known)
    redis.call('PEXPIRE', SESSIONS, known)
end

local function room()
    local epoch, last = redis.call('HGET', ROOM, 'epoch'), tonumber(redis.call('HGET', ROOM, 'last') or 0)
    if not epoch or OFFSET > last then
        local newest = redis.call('XREVRANGE', FINALS, '+', '-', 'COUNT', 1)[1]
        epoch, last = EPOCH, math.max(OFFSET, newest and offset_of(newest) or 0)
        redis.call('HSET', ROOM, 'epoch', epoch, 'last', last)
    end
    return epoch, last
end

local function session()  -- its generation, the one of its newest final, its claims, its newest utterance
    local found = redis.call('HGET', SESSIONS, SESSION)
    if found then return unpack(cjson.decode(found)) end
    return 0, 0, {}, 0
end

local function keep(generation, proven, claims, newest)
    redis.call('HSET', SESSIONS, SESSION, cjson.encode({generation, proven, claims, newest, NOW + LEASE}))
end

local function resumed(claims)  -- at which utterance others have gone on behind this generation
    for _, claim in ipairs(claims) do
        if claim[1] > GENERATION then return claim[2] end
    end
    return 0
end

local function live()  -- until when the sessions that are there may go on; those whose tickets are old go
    local all, latest = redis.call('HGETALL', SESSIONS), 0
    for i = 1, #all, 2 do
        local till = cjson.decode(all[i + 1])[5]
        if till <= NOW - LEASE then redis.call('HDEL', SESSIONS, all[i]) end
        latest = math.max(latest, till)
    end
    return latest
end

local function trim()
    while true do
        local oldest = redis.call('XRANGE', FINALS, '-', '+', 'COUNT', 1)[1]
        if not oldest then return 0 end
        local _, _, kept = fields(oldest)
        if kept > NOW - RETENTION then return offset_of(oldest) end
        redis.call('XDEL', FINALS, oldest[1])
    end
end
"""

OPEN = (
    PRELUDE
    + """
room()
local generation, proven, claims, newest = session()
if GENERATION >= generation then keep(GENERATION, proven, claims, newest) end
live()
stay()
redis.call('PUBLISH', CHANNEL, '')
"""
)

APPEND = (
    PRELUDE
    + """
local utterance, shown, ticket = tonumber(ARGV[7]), ARGV[8], ARGV[9]
local epoch, last = room()
local generation, proven, claims, newest = session()
if GENERATION < generation and utterance >= resumed(claims) then return false end
if utterance <= newest then
    local finals = redis.call('XREVRANGE', FINALS, '+', '-', 'COUNT', 1000)
    for _, entry in ipairs(finals) do
        local who, which = fields(entry)
        if who == SESSION and which == utterance then return {epoch, offset_of(entry)} end
    end
end
local offset = last + 1
redis.call('HSET', ROOM, 'last', offset)
redis.call('XADD', FINALS, offset .. '-0', 's', SESSION, 'u', utterance, 't', NOW, 'c', shown, 'k', ticket)
redis.call('PEXPIRE', FINALS, RETENTION)
trim()
keep(math.max(generation, GENERATION), math.max(proven, GENERATION), claims, math.max(newest, utterance))
stay()
redis.call('PUBLISH', CHANNEL, table.concat({SESSION, utterance, epoch, offset}, ' ') .. '\\n' .. shown)
return {epoch, offset}
"""
)

CLAIM = (
    PRELUDE
    + """
local known, utterance = tonumber(ARGV[7]), tonumber(ARGV[8])
room()
local generation, proven, claims, newest = session()
if known < proven then return false end
generation = math.max(generation + 1, GENERATION)
while #claims > 0 and claims[#claims][2] >= utterance do table.remove(claims) end  -- so the first one is the least
table.insert(claims, {generation, utterance})
keep(generation, proven, claims, newest)
stay()
local missed = {}
if newest >= utterance then
    for _, entry in ipairs(redis.call('XREVRANGE', FINALS, '+', '-', 'COUNT', 1000)) do
        local who, which, _, shown, ticket = fields(entry)
        if who == SESSION and which >= utterance then
            table.insert(missed, 1, {offset_of(entry), who, which, shown, ticket})
        end
    end
end
return {generation, missed}
"""
)

CLOSE = (
    PRELUDE
    + """
local found = redis.call('HGET', SESSIONS, SESSION)
if not found then return end
local state = cjson.decode(found)
if state[1] > GENERATION then return end
state[5] = NOW
redis.call('HSET', SESSIONS, SESSION, cjson.encode(state))
if redis.call('HGET', ROOM, 'last') == '0' and live() <= NOW then redis.call('DEL', ROOM, SESSIONS) end
redis.call('PUBLISH', CHANNEL, '')
"""
)

READ = (
    PRELUDE
    + """
local after, limit = tonumber(ARGV[7]), tonumber(ARGV[8])
local epoch = redis.call('HGET', ROOM, 'epoch')
if not epoch then return false end
local first, finals = trim(), {}
if limit > 0 then
    for _, entry in ipairs(redis.call('XRANGE', FINALS, (after + 1) .. '-0', '+', 'COUNT', limit)) do
        local who, which, _, shown = fields(entry)
        table.insert(finals, {offset_of(entry), who, which, shown})
    end
end
return {epoch, first, tonumber(redis.call('HGET', ROOM, 'last')), live() - NOW, finals}
"""
)
