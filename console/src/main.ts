import "./ui/theme.css";
import { createApp } from "vue";
import App from "./App.vue";
import { i18n, startLanguage } from "./core/i18n.ts";

void startLanguage().then(() => createApp(App).use(i18n).mount("#app"));
