// What each kind of channel needs to know. Secrets are typed once and never come back.
import type { FormField } from "./forms.ts";
import { t } from "./i18n.ts";

const NEEDS = {
  mail: ["address"], sms: ["phone"], wecom: ["user"], wecom_robot: ["token", "secret?"], dingtalk_robot: ["token", "secret?"],
  feishu_robot: ["token", "secret?"], lark_robot: ["token", "secret?"], webhook: ["url", "secret"], service: ["url"],
} as const;
export type ChannelKind = keyof typeof NEEDS;
export const CHANNEL_KINDS = Object.keys(NEEDS) as ChannelKind[];

export const channelFields = (kind: ChannelKind): FormField[] =>
  NEEDS[kind].map((need) => ({ name: need.replace("?", ""), label: t(`channelField.${need.replace("?", "")}`), required: !need.endsWith("?") }));
