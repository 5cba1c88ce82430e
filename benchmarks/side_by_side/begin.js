// Once, when the flow is deployed: reads the points, and sees to rows that have waited for 100 ms.
const pool = new pg.Pool(JSON.parse(env.get('BENCH_DATABASE')));
const found = await pool.query(
    "SELECT e.code AS enterprise, d.code || '.' || p.quantity AS code, p.point_id FROM point p " +
    "JOIN device d USING (device_id) JOIN enterprise e ON e.enterprise_id = d.enterprise_id");
const state = { points: new Map(), point: [], observed: [], received: [], value: [] };
for (const row of found.rows) state.points.set(row.enterprise + '/' + row.code, row.point_id);
let last = Promise.resolve();
state.flush = () => {
    const { point, observed, received, value } = state;
    if (!point.length) return;
    state.point = []; state.observed = []; state.received = []; state.value = [];
    last = last.then(() => pool.query({
        name: 'store',
        text: 'INSERT INTO reading (point_id, observed_at, received_at, value, quality) ' +
            'SELECT p, to_timestamp(o / 1000.0), to_timestamp(r / 1000.0), v, 0 ' +
            'FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::float8[]) AS t (p, o, r, v) ' +
            'ON CONFLICT DO NOTHING',
        values: [point, observed, received, value],
    })).catch((error) => node.error(error.message));
};
setInterval(state.flush, 100);
context.set('state', state);
node.log('points loaded');
