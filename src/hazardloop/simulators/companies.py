"""The invented companies of the district, and what kinds of places they run."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class HazardUnitSpec:
    """A unit of GB 18218 with its grade, 1 the most dangerous of 4; None = below the threshold."""

    code: str
    name: str
    grade: int | None


@dataclass(frozen=True, slots=True)
class SiteSketch:
    """A kind of place behind one gateway, and the devices found there, repeated as needed."""

    name: str
    kinds: str
    """One letter per device: g combustible gas, x toxic gas, t tank, e lift, s smoke."""
    medium: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """An enterprise to be; its gateways take its sites in turn."""

    code: str
    name: str
    area: str
    units: tuple[HazardUnitSpec, ...]
    sites: tuple[SiteSketch, ...]


COMPANIES: Final = (
    Company("CHEM", "示范化工有限公司", "东港化工片区", (
        HazardUnitSpec("HU-CHEM-1", "甲醇罐区", 1), HazardUnitSpec("HU-CHEM-2", "合成装置区", 2),
    ), (
        SiteSketch("甲醇罐区", "tgtgtg", "甲醇", "HU-CHEM-1"),
        SiteSketch("合成装置区", "gggggg", "氢", "HU-CHEM-2"),
        SiteSketch("装卸站台", "gtggts", "甲醇"),
        SiteSketch("综合楼", "esesss", ""),
    )),
    Company("FINE", "样例精细化工有限公司", "东港化工片区", (
        HazardUnitSpec("HU-FINE-1", "丙酮中间罐区", 3),
    ), (
        SiteSketch("丙酮中间罐区", "tgtgtg", "丙酮", "HU-FINE-1"),
        SiteSketch("聚合车间", "gggggs", "苯乙烯"),
        SiteSketch("原料仓库", "gsgsss", "乙醇"),
    )),
    Company("LPG", "示范液化气储配有限公司", "北郊片区", (
        HazardUnitSpec("HU-LPG-1", "液化石油气储罐区", 2),
    ), (
        SiteSketch("储罐区", "tgtgtg", "液化石油气", "HU-LPG-1"),
        SiteSketch("灌装间", "gggggs", "液化石油气"),
    )),
    Company("PORT", "样例油品码头有限公司", "东港码头片区", (
        HazardUnitSpec("HU-PORT-1", "汽油罐区", 1),
    ), (
        SiteSketch("汽油罐区", "tgtgtg", "汽油", "HU-PORT-1"),
        SiteSketch("柴油发放台", "tgtgst", "柴油"),
        SiteSketch("泵房", "ggggss", "汽油"),
    )),
    Company("LOGI", "示范危险品物流有限公司", "北郊片区", (
        HazardUnitSpec("HU-LOGI-1", "甲类仓库", 4),
    ), (
        SiteSketch("甲类仓库", "gsgsgs", "乙醇", "HU-LOGI-1"),
        SiteSketch("分拣中心", "sssses", ""),
    )),
    Company("FOOD", "样例冷链食品有限公司", "西河片区", (
        HazardUnitSpec("HU-FOOD-1", "液氨制冷机房", 4),
    ), (
        SiteSketch("制冷机房", "xtxxts", "氨", "HU-FOOD-1"),
        SiteSketch("加工车间", "sgssge", "天然气"),
    )),
    Company("HEAT", "示范供热有限公司", "西河片区", (
        HazardUnitSpec("HU-HEAT-1", "燃气锅炉房", None),
    ), (
        SiteSketch("锅炉房", "ggtggs", "天然气", "HU-HEAT-1"),
        SiteSketch("油料间", "tgtsgs", "柴油"),
    )),
    Company("MALL", "样例商业广场管理有限公司", "中心片区", (), (
        SiteSketch("裙楼", "eseses", ""),
        SiteSketch("餐饮层", "gsgsgs", "天然气"),
        SiteSketch("塔楼", "eseess", ""),
    )),
    Company("HOME", "示范家园物业服务有限公司", "中心片区", (), (
        SiteSketch("住宅楼", "eseses", ""),
        SiteSketch("配套商铺", "gssgss", "天然气"),
    )),
)  # fmt: skip
