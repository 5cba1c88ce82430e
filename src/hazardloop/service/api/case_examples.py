"""What the API's description shows of cases and steps."""

from typing import Any, Final

STEP_EXAMPLES: Final[dict[str, Any]] = {
    "sign": {"summary": "Receipt of one side", "value": {"action": "sign", "revision": 2}},
    "verify": {
        "summary": "What it turned out to be",
        "value": {"action": "verify", "revision": 4, "verdict": "real", "note": "现场闻到异味"},
    },
    "handle": {"summary": "Taken in hand", "value": {"action": "handle", "revision": 5}},
    "submit": {
        "summary": "Report of a red case, with the five (五落实)",
        "value": {
            "action": "submit",
            "revision": 7,
            "cause": "3号罐进料法兰垫片老化泄漏",
            "measures": "停止进料，更换垫片，复测合格",
            "responsible": "张三",
            "funds": "2000 元",
            "deadline": "2026-12-01",
            "plan": "全罐区同批垫片一周内更换",
        },
    },
    "close": {
        "summary": "Review passed",
        "value": {"action": "close", "revision": 8, "note": "照片与复测数据齐全"},
    },
    "return": {
        "summary": "Review not passed",
        "value": {"action": "return", "revision": 8, "note": "缺复测数据"},
    },
    "reopen": {
        "summary": "Closed too early",
        "value": {"action": "reopen", "revision": 9, "note": "再次泄漏"},
    },
    "tick": {
        "summary": "An item of the response plan is done",
        "value": {"action": "tick", "revision": 5, "item": "evacuate"},
    },
    "amend": {
        "summary": "A correction, while there is time for it",
        "value": {"action": "amend", "revision": 6, "verdict": "maintenance"},
    },
    "permit": {
        "summary": "A supervisor allows closing under an active signal",
        "value": {"action": "attach", "revision": 8, "permit": "探头损坏，已报修并停用"},
    },
}

EVIDENCE_EXAMPLE: Final[dict[str, Any]] = {
    "id": "7b0c2f6e-3f0f-4a3c-9a59-5a2f3c1d9e10",
    "file_name": "更换后的垫片.jpg",
    "media_type": "image/jpeg",
    "size_bytes": 348211,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "uploaded_by": "zhangsan",
    "uploaded_at": "2026-11-22T01:40:00.000Z",
}

CASE_EXAMPLE: Final[dict[str, Any]] = {
    "id": "0e8a9f3c-5a41-5b0e-8d4e-2f6b7a1c9d20",
    "alarm_id": "5d3f0c7a-9f5e-5c9b-8f43-1f2f9f0b7a55",
    "stage": "dispatched",
    "revision": 3,
    "tier": "red",
    "enterprise": {"id": 3, "code": "E003", "name": "示范化工有限公司"},
    "alarm": {
        "id": "5d3f0c7a-9f5e-5c9b-8f43-1f2f9f0b7a55",
        "tier_now": "red",
        "condition": "active",
        "point": "SD-9.smoke",
        "device": {"id": 109, "code": "SD-9", "name": "感烟探测器"},
        "kind": "smoke_detector",
        "location": "2号库房",
        "rule": "smoke_detector.smoke",
        "name": {"zh": "烟雾报警", "en": "Smoke"},
        "value": 1.0,
        "limit": 1.0,
        "unit": "1",
        "direction": "state",
        "raised_at": "2026-11-22T01:12:07.120Z",
        "cleared_at": None,
        "found_late": False,
        "drill": False,
    },
    "opened_at": "2026-11-22T01:12:07.410Z",
    "stage_at": "2026-11-22T01:12:07.410Z",
    "due": {"stage": "sign", "at": "2026-11-22T01:17:07.410Z", "overdue": False},
    "assignments": [
        {
            "party": "enterprise",
            "post": "assignee",
            "assigned_to": "示范化工有限公司",
            "dispatched_at": "2026-11-22T01:12:07.410Z",
            "sign_due_at": "2026-11-22T01:17:07.410Z",
            "signed_at": "2026-11-22T01:13:40.000Z",
            "signed_by": "zhangsan",
        },
        {
            "party": "authority",
            "post": "assignee",
            "assigned_to": "城东监管所",
            "dispatched_at": "2026-11-22T01:12:07.410Z",
            "sign_due_at": "2026-11-22T01:17:07.410Z",
            "signed_at": None,
            "signed_by": None,
        },
    ],
    "verdict": None,
    "cause": None,
    "measures": None,
    "responsible": None,
    "funds": None,
    "deadline": None,
    "plan": None,
    "handlers": [],
    "submitted_by": None,
    "closed_by": None,
    "closed_at": None,
    "reopened": 0,
    "returned": 0,
    "bypass_permit": None,
    "lead_case_id": None,
    "members": [],
    "allowed_actions": ["sign", "comment", "attach", "escalate"],
}

WHOLE_CASE_EXAMPLE: Final[dict[str, Any]] = CASE_EXAMPLE | {
    "deadlines": [
        {
            "stage": "sign",
            "due_at": "2026-11-22T01:17:07.410Z",
            "done_at": None,
            "overdue": False,
        }
    ],
    "steps": [
        {
            "revision": 3,
            "action": "sign",
            "actor": "zhangsan",
            "actor_role": "enterprise",
            "taken_at": "2026-11-22T01:13:40.000Z",
            "note": None,
            "body": {"stage": "dispatched"},
        }
    ],
    "evidence": [EVIDENCE_EXAMPLE],
    "checks": [
        {
            "item": "evacuate",
            "text": {"zh": "疏散人员", "en": "Evacuate"},
            "required": True,
            "ticked_at": None,
            "ticked_by": None,
        }
    ],
}
