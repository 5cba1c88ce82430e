// Each message: its values join the rows that wait; a thousand of them go in one INSERT.
const state = context.get('state');
if (!state) return null;
const enterprise = msg.topic.split('/')[2];
const said = msg.payload;
const received = Date.now();
for (const code in said.values) {
    const point = state.points.get(enterprise + '/' + code);
    if (point !== undefined) {
        state.point.push(point);
        state.observed.push(said.ts);
        state.received.push(received);
        state.value.push(said.values[code]);
    }
}
if (state.point.length >= 1000) state.flush();
return null;
