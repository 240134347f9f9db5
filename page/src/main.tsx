import { render } from "preact";
import { start } from "./session";
import "./styles.css";
import { App } from "./ui/App";
import { restoreTheme } from "./ui/theme";

render(<App />, document.getElementById("page")!);
void start().then(restoreTheme);
