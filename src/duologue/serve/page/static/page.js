// The page: every element, and the frame around them.

import { start } from "./base.js";
import "./frame.js";
import "./talk.js";
import "./characters.js";
import "./memory.js";
import "./context.js";
import "./train.js";
import "./settings.js";

start();
