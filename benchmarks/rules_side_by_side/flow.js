// The rules as a function node holds them: each message its own call, what is remembered of a point
// in the flow's context. Told of folder, points and rounds; prints changes and processor seconds.
const fs = require('fs');
const [folder, points, rounds, intervalUs] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const rules = JSON.parse(fs.readFileSync(`${folder}/rules.json`));
const context = new Map();
let changes = 0;

function onMessage(msg) {
    let state = context.get(msg.point);
    if (state === undefined) {
        state = rules.map((rule) => ({tier: 0, holds: rule.limits.map(() => false), since: rule.limits.map(() => null)}));
        context.set(msg.point, state);
    }
    const told = [];
    for (let r = 0; r < rules.length; r++) {
        const rule = rules[r], mine = state[r];
        let tier = 0;
        for (let n = 0; n < rule.limits.length; n++) {
            const {limit} = rule.limits[n];
            const beyond = rule.high ? msg.value >= limit : msg.value <= limit;
            const kept = rule.high ? msg.value >= limit - rule.deadband : msg.value <= limit + rule.deadband;
            if (mine.holds[n]) {
                if (kept) mine.since[n] = null;
                else {
                    if (mine.since[n] === null) mine.since[n] = msg.at;
                    if (msg.at - mine.since[n] >= rule.offDelayUs) { mine.holds[n] = false; mine.since[n] = null; }
                }
            } else if (beyond) mine.holds[n] = true;
            if (mine.holds[n]) tier = rule.limits[n].tier;
        }
        if (tier !== mine.tier) { told.push({payload: {rule: rule.id, point: msg.point, tier}}); mine.tier = tier; }
    }
    return told.length ? [told] : null;
}

const seconds = [];
for (let nth = 0; nth < rounds; nth++) {
    const file = fs.readFileSync(`${folder}/round-${nth}.bin`);
    const values = new Float64Array(file.buffer, file.byteOffset, points);
    const messages = [];
    for (let point = 0; point < points; point++) messages.push({point, at: nth * intervalUs, value: values[point]});
    const start = process.cpuUsage();
    for (const msg of messages) {
        const out = onMessage(msg);
        if (out !== null) changes += out[0].length;
    }
    const used = process.cpuUsage(start);
    seconds.push((used.user + used.system) / 1e6);
}
console.log(JSON.stringify({changes, seconds}));
