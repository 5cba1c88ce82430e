"""Whether the cases of a database went the way they must, told from the ledger alone.

Knows nothing of the service's code: plain SQL over ledger, alarms, accounts and evidence.
"""

from typing import Any

from psycopg import AsyncConnection

# A line about a case, with the stage before it, as the ledger tells it.
LINES = """
    WITH line AS (
        SELECT l.case_id, l.revision, l.action, l.actor, l.actor_role, l.taken_at, l.body,
               l.body ->> 'stage' AS stage,
               lag(l.body ->> 'stage') OVER (PARTITION BY l.case_id ORDER BY l.revision) AS was,
               lag(l.revision) OVER (PARTITION BY l.case_id ORDER BY l.revision) AS last_revision
          FROM ledger l WHERE l.case_id IS NOT NULL
    ), matter AS (
        SELECT c.*, a.tier, a.cleared_at FROM disposal_case c JOIN alarm a USING (alarm_id)
    ), closing AS (
        SELECT line.*, m.tier, m.cleared_at, m.enterprise_id, m.lead_case_id,
               coalesce((SELECT max(r.revision) FROM line r WHERE r.case_id = line.case_id
                           AND r.action = 'reopen' AND r.revision < line.revision), 0) AS opened
          FROM line JOIN matter m USING (case_id) WHERE line.action = 'close'
    ), way (was, action, stage) AS (VALUES
        ('raised', 'dispatch', 'dispatched'), ('dispatched', 'sign', 'dispatched'),
        ('dispatched', 'sign', 'signed'), ('signed', 'verify', 'verified'),
        ('verified', 'handle', 'handling'), ('handling', 'submit', 'submitted'),
        ('submitted', 'return', 'handling'), ('submitted', 'close', 'closed'),
        ('closed', 'reopen', 'handling')
    )"""

WRONG = {
    "a revision is left out": """
        SELECT case_id FROM line WHERE revision <> coalesce(last_revision, 0) + 1""",
    "the case is not where its ledger ends": """
        SELECT m.case_id FROM matter m CROSS JOIN LATERAL (
            SELECT l.revision, l.stage FROM line l WHERE l.case_id = m.case_id
             ORDER BY l.revision DESC LIMIT 1) AS last
         WHERE (m.revision, m.stage) <> (last.revision, last.stage)""",
    "a stage was reached by no way there is": """
        SELECT case_id FROM line WHERE was IS NOT NULL AND was <> stage
           AND (was, action, stage) NOT IN (SELECT was, action, stage FROM way)""",
    "a moving step moved nothing": """
        SELECT case_id FROM line WHERE was = stage
           AND action IN ('verify', 'handle', 'submit', 'return', 'close', 'reopen')""",
    "somebody acted who is not who they say": """
        SELECT case_id FROM line JOIN matter USING (case_id) WHERE actor <> 'system'
           AND NOT EXISTS (SELECT FROM user_account u WHERE u.username = line.actor
                              AND u.role = line.actor_role
                              AND coalesce(u.enterprise_id, matter.enterprise_id)
                                  = matter.enterprise_id)""",
    "a role took a step that is not its own": """
        SELECT case_id FROM line WHERE actor_role IN ('admin', 'auditor', 'tester')
            OR action IN ('close', 'return', 'reopen')
               AND actor_role NOT IN ('authority', 'supervisor')
            OR action IN ('verify', 'handle', 'submit')
               AND actor_role NOT IN ('enterprise', 'operator', 'supervisor')""",
    "closed by one who handled it": """
        SELECT case_id FROM closing WHERE EXISTS (
            SELECT FROM line h WHERE h.case_id = closing.case_id AND h.revision < closing.revision
               AND h.actor = closing.actor AND h.action IN ('handle', 'submit'))""",
    "closed without both receipts": """
        SELECT case_id FROM closing WHERE 2 > (
            SELECT count(DISTINCT s.actor_role) FROM line s WHERE s.case_id = closing.case_id
               AND s.action = 'sign' AND s.revision < closing.revision)""",
    "closed without verdict, handling or report": """
        SELECT case_id FROM closing WHERE 3 > (
            SELECT count(DISTINCT s.action) FROM line s WHERE s.case_id = closing.case_id
               AND s.revision < closing.revision
               AND (s.action = 'verify' AND s.body ? 'verdict' OR s.action = 'handle'
                    OR s.action = 'submit' AND s.revision > closing.opened
                       AND s.body ? 'cause' AND s.body ? 'measures'))""",
    "red or orange closed without evidence": """
        SELECT case_id FROM closing WHERE tier >= 3 AND NOT EXISTS (
            SELECT FROM line s JOIN evidence ON evidence_id = (s.body ->> 'evidence_id')::uuid
             WHERE s.case_id IN (closing.case_id, closing.lead_case_id)
               AND s.taken_at <= closing.taken_at)""",
    "red closed without the five": """
        SELECT case_id FROM closing WHERE tier = 4 AND NOT (
            SELECT s.body ?& '{responsible,measures,funds,deadline,plan}' FROM line s
             WHERE s.case_id = closing.case_id AND s.action = 'submit'
               AND s.revision < closing.revision ORDER BY s.revision DESC LIMIT 1)""",
    "closed although the signal did not rest": """
        SELECT case_id FROM closing CROSS JOIN case_policy
         WHERE (cleared_at IS NULL OR cleared_at + rest > taken_at) AND NOT EXISTS (
            SELECT FROM line p WHERE p.case_id = closing.case_id AND p.body ? 'permit'
               AND p.actor_role = 'supervisor'
               AND p.revision BETWEEN closing.opened AND closing.revision)""",
    "reported with an item of the plan open": """
        SELECT s.case_id FROM line s JOIN case_check k USING (case_id)
         WHERE s.action = 'submit' AND k.required AND 'tick' IS DISTINCT FROM (
            SELECT t.action FROM line t WHERE t.case_id = s.case_id AND t.revision < s.revision
               AND t.action IN ('tick', 'untick') AND t.body ->> 'item' = k.item
             ORDER BY t.revision DESC LIMIT 1)""",
    "findings amended after their time": """
        SELECT l.case_id FROM line l WHERE l.action = 'amend' AND l.taken_at > (
            SELECT (d.body ->> 'due_at')::timestamptz FROM line d
             WHERE d.case_id = l.case_id AND d.revision < l.revision AND d.body ? 'due_at'
             ORDER BY d.revision DESC LIMIT 1)""",
    "a member stands elsewhere than its lead": """
        SELECT m.case_id FROM disposal_case m JOIN disposal_case l ON l.case_id = m.lead_case_id
         WHERE m.stage <> l.stage OR l.lead_case_id IS NOT NULL
            OR m.enterprise_id <> l.enterprise_id""",
    "an alarm without its case and both charges": """
        SELECT alarm_id FROM alarm LEFT JOIN disposal_case c USING (alarm_id) WHERE 2 > (
            SELECT count(DISTINCT party) FROM assignment s WHERE s.case_id = c.case_id
               AND s.dispatched_at = c.opened_at)""",
}


async def wrongs(owner: AsyncConnection[Any]) -> dict[str, list[str]]:
    """Ids of cases (or alarms) by what is wrong with them; empty: nothing is."""
    found = {}
    for what, query in WRONG.items():
        rows = await (await owner.execute(f"{LINES} {query}")).fetchall()
        if rows:
            found[what] = [str(row[0]) for row in rows]
    return found
